"""Training: the linear head solved, the two stages, the baseline, and the pretraining of the embedded backbone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "linear_head": ["LinearHead", "solve_head", "start_head"],
        "optimizers": ["build_optimizer", "compile_model"],
        "pretrain": ["pretrain_backbone"],
        "stages": ["run_stage1_training", "run_stage2_finetuning", "train_baseline"],
    },
)
