"""Answers to the exercises: likely wrong ones, and right ones that differ from the solution."""

# A right answer to the last exercise of 01, of which wrong ones are variants.
AUGMENT = """\
augment = keras.Sequential(
    [keras.layers.RandomZoom(0.1, fill_mode='reflect'), keras.layers.RandomTranslation(0.1, 0.1, 'reflect')]
)"""
# Answers to the second exercise of 01: the images one by one, and their correlation.
SAME = "also_in = lambda test, train: [bool({}) for image in test]"
CORRELATED = """\
def also_in(test, train):
    rows = np.concatenate([test, train]).reshape(len(test) + len(train), -1)
    between = np.corrcoef(rows)[: len(test), len(test) :]
    return between.max(axis={axis}) > {limit}
"""
# A right answer to the third exercise of 02, of which wrong ones are variants.
KINDS = "'gamma', 'beta', 'moving_mean', 'moving_variance'"
MOVED = f"""\
def moved(model, x, y):
    before = {{weight.path: np.array(weight) for weight in model.weights}}
    model.train_on_batch(x, y)
    same = lambda weight: np.array_equal(before[weight.path], weight)
    changed = [weight.path for weight in model.weights if not same(weight)]
    for weight in model.weights:
        weight.assign(before[weight.path])
    return changed
everything = ['kernel', {KINDS}]
expected = dict(zip(states, ([], ['kernel'], everything, everything)))
"""
# Right answers to the first and the last exercise of 07, of which wrong ones are variants.
CKA = """\
def cka_from_gram(a, b):
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    k, m = (a @ a.T).ravel(), (b @ b.T).ravel()
    return np.corrcoef(k, m)[0, 1]
"""
OCCLUSION = """\
def occlusion(predict, image, size):
    before = np.asarray(predict(image[None]))[0]
    picture, falls = image.copy(), []
    for top in range(0, image.shape[0], size):
        for left in range(0, image.shape[1], size):
            picture = image.copy()
            picture[top : top + size, left : left + size] = 128
            falls.append(before.max() - np.asarray(predict(picture[None]))[0, before.argmax()])
    return np.reshape(falls, (image.shape[0] // size, -1)).tolist()
"""
ROWS, COLUMNS = "for top in range(0, image.shape[0], size):", "for left in range(0, image.shape[1], size):"

# A right answer to the first half of exercise 2 of 03, of which wrong ones are variants.
PROBE = """\
def probe(network, name):
    features = keras.Model(network.input, network.get_layer(name).output)
    averaged = lambda x: features.predict(prepare(x), verbose=0).mean(axis=(1, 2))
    return head.fit(averaged(x_train), y_train).score(averaged(x_validation), y_validation)
"""
# How exercise 4 of 03 begins.
JOINED = """\
joined_train = np.hstack([late_train, last_train])
joined_validation = np.hstack([late_validation, last_validation])
"""
# Answers to the first exercise of 04.
START = """\
def start_stage2(model, base, n):
    base.trainable = True
    for place, layer in enumerate(base.layers):
        layer.trainable = place >= len(base.layers) - {n} and not isinstance(layer, keras.layers.BatchNormalization)
    model.compile({optimizer}, 'sparse_categorical_crossentropy')
"""
# The functions of which wrong answers to the last exercises of 04 and 05 are variants.
CUT = """\
def cut_before_tail(base, n):
    for k in range(len(base.layers) - n - 1, 0, -1):
        place = base.layers[k].output
        try:
            trunk, tail = keras.Model(base.input, place), keras.Model(place, base.output)
            return trunk, tail
        except ValueError:
            pass

def largest_difference(whole, trunk, tail, x):
    a, b = np.asarray(whole(x)), np.asarray(tail(trunk(x)))
    return float(np.abs(a - b).max())
"""
OPPONENT = """\
def train_opponent(x, y):
    cnn = build_baseline_cnn()
    cnn.compile('adam', 'sparse_categorical_crossentropy')
    cnn.fit(x, y, epochs=400, verbose=0)
    return cnn
gains = [20, 20]"""

# A right answer to exercise 3 of 05, and a wrong one to exercise 4: the accuracy on the wrong images.
SECONDS_TO = """\
def seconds_to(goal, accuracies, seconds, before):
    reached = [n for n in range(len(accuracies)) if accuracies[n] >= goal]
    return next((before + sum(seconds[: n + 1]) for n in reached), None)
"""
CHOOSING = """\
def probe_accuracy(level, draw=0):
    drawn = draw_labels(labels, level, seed, draw)
    head = solve_head((known[drawn], one_hot[labels[drawn]]), choosing)
    scores = (choosing[0] - head.mean) / head.deviation @ head.kernel + head.bias
    return np.mean(scores.argmax(axis=1) == choosing[1].argmax(axis=1))
"""
# A right answer to exercise 1 of 06.
REPORTED = """\
def reported(start, epochs):
    loss, accuracy = min(epochs)
    if loss < start[0] and accuracy >= start[1]:
        return accuracy, True
    return start[1], False
"""
# A right answer to exercise 2 of 07.
FINE_TUNE = """\
tail.trainable = True
for layer in tail.layers:
    layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
def fine_tune(rate):
    model.set_weights(start)
    model.compile(keras.optimizers.Adam(rate), 'sparse_categorical_crossentropy')
    model.fit(maps, y_train, epochs=4, batch_size=64, verbose=0)
    return linear_cka(before, np.asarray(pool(tail.predict(maps_val, verbose=0))))
similarity = {rate: fine_tune(rate) for rate in rates}
"""
# A right answer to exercise 3 of 07, in two functions.
GAP = """\
def calibration_gap(p, labels):
    sure, right = p.max(axis=1), p.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(10 * sure) - 1, 0, 9)
    bins = [bin_of == k for k in np.unique(bin_of)]
    return sum(np.mean(b) * abs(sure[b].mean() - right[b].mean()) for b in bins)
"""
FIT = (
    GAP
    + """
def fit_and_judge(p, labels):
    half = len(labels) // 2
    grid = np.arange(0.4, 2, 0.04)
    t = min(grid, key=lambda t: log_loss(labels[:half], apply_temperature(p[:half], t)))
    return [t] + [calibration_gap(apply_temperature(p[half:], u), labels[half:]) for u in (1, t)]
"""
)

# A right answer to exercise 3 of 08.
SCORES = """\
def threshold_at(known, rate):
    return max(t for t in known if np.mean(known < t) <= rate)
def share_in_order(known, foreign):
    ranks = stats.rankdata(np.append(known, foreign))[: len(known)]
    return (ranks.mean() - (len(known) + 1) / 2) / len(foreign)
areas = {name: share_in_order(known[name], foreign[name]) for name in 'ab'}
stopped = {name: np.mean(foreign[name] < threshold_at(known[name], 0.05)) for name in 'ab'}
choice = 'b'
"""
LIMIT, RANKS = (
    "max(t for t in known if np.mean(known < t) <= rate)",
    "(ranks.mean() - (len(known) + 1) / 2) / len(foreign)",
)
# How answers to the last exercise of 08 begin.
LEARN = """\
def learn(train_files, validation_files):
    given = keras.Input((SIDE, SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(network(given / 127.5 - 1))
    model = keras.Model(given, keras.layers.Dense(len(class_names), activation='softmax')(pooled))
"""

# For each exercise of a notebook, answers with a part of the expected hint; an empty hint marks a right answer.
ANSWERS = {
    "01_data_preparation": [
        [
            ("to_network_range = lambda pixels: pixels / 255", "negative"),
            ("to_network_range = lambda pixels: pixels.astype('float32') - 127.5", "too large"),
            ("to_network_range = lambda pixels: (np.asarray(pixels, 'float32') - 127.5) / 127.5", ""),
        ],
        [
            ("also_in = lambda test, train: np.arange(30)", "one boolean for each test image"),
            ("also_in = lambda test, train: np.zeros(len(test), bool)", "An exact copy is not found"),
            (SAME.format("(train == image).all(axis=(1, 2, 3)).any()"), "saved again"),
            (SAME.format("np.abs(train - image).mean(axis=(1, 2, 3)).min() < 12"), "in uint8"),
            (SAME.format("np.abs(train - image.astype(int)).mean(axis=(1, 2, 3)).min() < 12"), "A paler copy"),
            (CORRELATED.format(limit=0.3, axis=1), "too loose"),
            (CORRELATED.format(limit=0.95, axis=0), "one boolean for each test image"),
            (CORRELATED.format(limit=0.95, axis=1), ""),
        ],
        [
            ("split_by_class = lambda *_: (np.arange(160), np.arange(160, 200))", "class is missing"),
            ("split_by_class = lambda *_: ([], [n for n in range(200) if n % 5 == 0])", "exactly one part"),
            (
                "def split_by_class(labels, share, seed):\n"
                "    draw = np.random.default_rng(seed).permutation\n"
                "    drawn = [draw(np.flatnonzero(labels == k)) for k in range(4)]\n"
                "    held = [int(n) for own in drawn for n in own[: round(share * len(own))]]\n"
                "    return [n for n in range(200) if n not in held], held",
                "",
            ),
            (
                "def split_by_class(labels, share, seed):\n"
                "    return train_test_split(np.arange(200), test_size=0.2, random_state=seed, stratify=labels)",
                "The argument share",
            ),
            (
                "def split_by_class(labels, share, seed):\n"
                "    return train_test_split(np.arange(200), test_size=share, random_state=seed)",
                "differs between classes",
            ),
        ],
        [
            ("augment = keras.Sequential([keras.layers.RandomFlip('horizontal')])", "mirrored"),
            ("augment = keras.Sequential([keras.layers.RandomTranslation(0.3, 0.3, 'reflect')])", "more than a tenth"),
            ("augment = keras.Sequential([keras.layers.RandomTranslation(0, 0.1, 'reflect')])", "up, down"),
            (AUGMENT.replace("Translation(0.1, 0.1", "Translation((0, 0.1), (0, 0.1)"), "up, down"),
            (AUGMENT.replace("Translation(0.1, 0.1", "Translation(0.05, 0.05"), "by up to a tenth"),
            ("augment = keras.Sequential([keras.layers.RandomTranslation(0.1, 0.1, 'reflect')])", "Nothing zooms"),
            ("augment = keras.Sequential([keras.layers.RandomTranslation(0.1, 0.1, 'nearest')])", "by reflection"),
            (AUGMENT.replace("'reflect'", "'wrap'"), "from the opposite side"),
            (AUGMENT.replace("Zoom(0.1", "Zoom(0.5"), "more than a tenth"),
            (AUGMENT + "\naugment.add(keras.layers.RandomFlip('vertical'))", "top to bottom"),
            (AUGMENT, ""),
        ],
    ],
    "02_architecture": [
        [
            ("depthwise_cost = lambda h, w, c, k: h * w * c * c * k * k", "sees one channel"),
            ("depthwise_cost = lambda h, w, c, k: 9 * h * w * c", "a 5 x 5 kernel"),
        ],
        [("parameters_grow_by, multiply_adds_grow_by = 4, 4", "Does a kernel depend")],
        [
            ("moved = lambda model, x, y: {weight.path for weight in model.trainable_weights}", "averages are missing"),
            (MOVED.replace("np.array(weight) for", "weight for"), "Nothing has moved"),
            (MOVED.replace("model.weights", "model.trainable_weights"), "averages are missing"),
            (MOVED.replace("        weight.assign(before[weight.path])", "        pass"), "not as before"),
            (
                MOVED.replace("    model.train_on", "    model.compile('sgd', 'mse')\n    model.train_on"),
                "Do not compile",
            ),
            (MOVED.replace("everything, everything", "everything, []"), "frozen again"),
            (MOVED.replace(f"['kernel', {KINDS}]", "['kernel', 'gamma', 'beta']"), "the state 'everything'"),
            (MOVED, ""),
        ],
        [
            ("base.trainable, n_weights, tuned = True, 0, head_only", "other than gamma and beta"),
            ("base.trainable, n_weights, tuned = False, 0, head_only", "Nothing of the base is trainable"),
            (
                "base.trainable = True\n"
                "for layer in base.layers:\n"
                "    layer.trainable = isinstance(layer, keras.layers.BatchNormalization)\n"
                "n_weights = sum(np.size(weight) for weight in base.trainable_weights)\n"
                "model.compile('adam', 'sparse_categorical_crossentropy')\n"
                "tuned = model.fit(train[0][:32], train[1][:32], verbose=0)",
                "with validation_data",
            ),
            (
                "base.trainable = True\n"
                "for layer in base.layers:\n"
                "    layer.trainable = layer.name.endswith('project_BN')\n"
                "n_weights, tuned = sum(np.size(weight) for weight in base.trainable_weights), head_only",
                "still frozen",
            ),
        ],
    ],
    "03_feature_maps": [
        [
            ("sparsity = lambda maps: (maps == 0).mean()", "One number for each channel"),
            ("sparsity = lambda maps: [float((maps[..., c] == 0).mean()) for c in range(maps.shape[-1])]", ""),
        ],
        [
            ("probe = lambda network, name: 45.6", "between 0 and 1"),
            (PROBE.replace("(x_validation), y_validation", "(x_train), y_train"), "does validation judge"),
            (PROBE.replace("prepare(x)", "prepare(x) * 127.5"), "Are images prepared"),
            (PROBE.replace("network.", "base."), "its argument network"),
            (f"{PROBE}accuracies, helps = {{'out_relu': (0.9, 0.1)}}, ['out_relu']", "each of the three layers"),
            (f"{PROBE}accuracies, helps = dict.fromkeys(depths, right[::-1]), []", "the pretrained network first"),
            (f"{PROBE}accuracies, helps = dict.fromkeys(depths, right), list(depths)", "is name used"),
            (
                f"{PROBE}accuracies = {{'Conv1_relu': (0.2, 0.19), 'block_5_add': right, 'out_relu': (0.9, 0.1)}}\n"
                "helps = list(depths)",
                "does not follow from your numbers",
            ),
        ],
        [("short = keras.Sequential([keras.Input((32, 32, 3)), prepare, base])", "one probability per class")],
        [
            (
                "joined_train, joined_validation = np.concatenate([late_train, late_train]), late_validation",
                "side by side",
            ),
            (
                JOINED.replace("late_validation, last_validation]", "last_validation, late_validation]"),
                "the same order in both",
            ),
            (f"{JOINED}accuracies, joining_helps = (0.5, 0.5, 0.5), False", "The first accuracy"),
            (
                f"{JOINED}accuracies = [head.fit(a, y_train).score(b, y_validation) for a, b in\n"
                "    ((late_train, late_validation), (last_train, last_validation))] + [1.0]\n"
                "joining_helps = True",
                "The third accuracy",
            ),
        ],
    ],
    "04_two_stage_fine_tuning": [
        [
            (
                "def start_stage2(model, base, n):\n"
                "    base.trainable = True\n"
                "    for place, layer in enumerate(base.layers):\n"
                "        layer.trainable = place >= 124 and not isinstance(layer, keras.layers.BatchNormalization)",
                "when does a change of trainable take effect",
            ),
            (
                "def start_stage2(model, base, n):\n"
                "    base.trainable = True\n"
                "    for layer in base.layers[:-n]:\n"
                "        layer.trainable = False\n"
                "    model.compile('adam', 'sparse_categorical_crossentropy')",
                "A BatchNorm is trainable",
            ),
            (START.format(n=20, optimizer="keras.optimizers.Adam(1e-4)"), "of the last 30 layers did not move"),
            (START.format(n=31, optimizer="keras.optimizers.Adam(1e-4)"), "before the last 30 layers moved"),
            (START.format(n=30, optimizer="'adam'"), "not 0.0001"),
        ],
        [
            ("two_stages = lambda: keras.Sequential([extractor, keras.layers.Dense(10)])", "not probabilities"),
            (
                "two_stages = lambda: keras.Sequential(\n"
                "    [extractor, keras.layers.Dense(10, activation='softmax', kernel_initializer='zeros')]\n"
                ")",
                "The model guesses",
            ),
            ("two_stages = lambda: keras.Sequential([extractor, frozen.layers[-1]])", "did the tail learn"),
        ],
        [("accuracy_at = lambda depth: 53.0", "between 0 and 1")],
        [
            ("accuracies, best_depth = {30: trial}, 30", "one entry for each"),
            ("accuracies, best_depth = dict.fromkeys(depths, trial), 10", "All depths give the same"),
            ("accuracies, best_depth = {10: trial, 30: 0.99, 90: 0.5}, 10", "Another depth has a higher"),
            ("accuracies, best_depth = {10: trial, 30: 0.99, 90: 0.5}, 0.99", "not an accuracy"),
            ("accuracies, best_depth = {10: trial, 30: 0.99, 90: 0.5}, 30", ""),
        ],
        [
            (CUT.replace("np.abs(", "np.mean("), "value by value"),
            (CUT.replace("np.abs(a - b).max()", "abs(a.mean() - b.mean())"), "value by value"),
            (CUT.replace("np.abs(a - b)", "(a - b)"), "the absolute value of each"),
            (CUT.replace("- n - 1", "- n"), "is in the trunk"),
            (CUT.replace("- n - 1", "- n - 9"), "a longer trunk is possible"),
            (CUT.replace("base.layers[k]", "base.get_layer('block_13_project_BN')"), "n = 45: one of the last 45"),
            (CUT.replace("return trunk, tail", "return trunk, keras.models.clone_model(tail)"), "give another output"),
            (
                CUT.replace(
                    "return trunk, tail",
                    "copy = keras.models.clone_model(tail)\n"
                    "            copy.set_weights(tail.get_weights())\n"
                    "            return trunk, copy",
                ),
                "must share the layers",
            ),
            (CUT, ""),
        ],
    ],
    "05_baseline_comparison": [
        [("n_images = 100", "too wide"), ("n_images = 3459.0", "")],
        [
            ("only_one = lambda a, b: (int((~a & b).sum()), int((a & ~b).sum()))", "swapped"),
            ("only_one = lambda a, b: [(a & ~b).sum(), (~a & b).sum()]", ""),
        ],
        [
            ("seconds_to = lambda goal, accuracies, seconds, before: before + sum(seconds)", "return None"),
            (SECONDS_TO.replace(">= goal", "> goal"), "reaches the goal exactly"),
            (SECONDS_TO.replace("[: n + 1]", "[:n]"), "Its own seconds"),
            (SECONDS_TO.replace("accuracies[n]", "min(accuracies[n:])"), "The curve falls again"),
            (SECONDS_TO.replace("sum(seconds[: n + 1])", "seconds[0] * (n + 1)"), "The curve falls again"),
            (SECONDS_TO.replace("before + ", ""), "were not free"),
            (SECONDS_TO, ""),
        ],
        [
            ("probe_accuracy = lambda level, draw=0: level / 100", "Another draw"),
            ("probe_accuracy = lambda level, draw=0: level / 100 + draw / 1000", "accuracy on judging"),
            (CHOOSING, "accuracy on judging"),
        ],
        [
            ("train_opponent, gains = (lambda x, y: build_baseline_cnn()), [1, 2]", "to finish learning"),
            (OPPONENT.replace("400", "20"), "20 steps: that is too few"),
            (OPPONENT.replace("adam", "sgd").replace("fit(x,", "fit(x / 255,"), "are the pixels 0 to 255"),
            (OPPONENT.replace("400", "400 // -(-len(x) // 32) + 1").replace("20, 20", "0.4, 0.4"), "not fractions"),
            ("gains = (-40.0, -40.0)", "the probe minus the CNN"),
            ("gains = [expected, expected]", "Both draws give the same gain"),
            ("gains = np.array([expected, 30])", ""),
        ],
    ],
    "06_experiment_study": [
        [
            ("reported = lambda start, epochs: max(accuracy for _, accuracy in epochs)", "an accuracy, and True"),
            ("reported = lambda start, epochs: (epochs[-1][1], True)", "report the last epoch"),
            (REPORTED.replace("min(epochs)", "max(epochs, key=lambda epoch: epoch[1])"), "the most accurate epoch"),
            ("reported = lambda start, epochs: (start[1], False)", "it is kept"),
            ("reported = lambda start, epochs: (min(epochs)[1], True)", "every epoch is worse than the start"),
            (REPORTED.replace("start[1], False", "start[1], True"), "the second value must say so"),
            ("reported = lambda start, epochs: (min([start, *epochs])[1], min(epochs) < start)", "a lower accuracy"),
            (
                "reported = lambda start, epochs: (lambda kept: (kept[1], kept != start))(\n"
                "    min([start, *(epoch for epoch in epochs if epoch[1] >= start[1])])\n"
                ")",
                "No other epoch is a candidate",
            ),
            (REPORTED.replace("loss < start[0] and ", ""), "a higher loss and a higher accuracy"),
            (REPORTED.replace("loss < ", "loss <= "), "the same loss"),
            (REPORTED.replace("accuracy >= ", "accuracy > "), "Whose weights are these"),
            (
                "def reported(start, epochs):\n"
                "    losses, accuracies = np.transpose(epochs)\n"
                "    best = losses.argmin()\n"
                "    own = (losses[best] < start[0]) & (accuracies[best] >= start[1])\n"
                "    return [np.where(own, accuracies[best], start[1]), own]",
                "",
            ),
        ],
        [
            ("accuracy, head = {0.01: 0.53}, None", "at least five"),
            ("accuracy, head = dict.fromkeys((0.001, 0.01, 0.1, 1.0, 10.0), 53), None", "a fraction from 0 to 1"),
            ("accuracy, head = dict.fromkeys((1, 2, 3, 4, 5), 0.5), None", "too close together"),
            ("accuracy, head = {10.0**n: 0.5 + n / 10 for n in range(-3, 2)}, None", "the largest you tried"),
            ("accuracy, head = {10.0**n: 0.5 - n / 10 for n in range(-3, 2)}, None", "the smallest you tried"),
            (
                "accuracy = {0.001: 0.3, 0.01: 0.4, 0.1: 0.99, 1.0: 0.5, 10.0: 0.2}\n"
                "head = keras.Sequential([keras.layers.Dense(10, activation='softmax', kernel_initializer='zeros')])",
                "not the head of your best rate",
            ),
            (
                "accuracy = dict.fromkeys((1, 2, 4, 8, 16), 0)\n"
                "head = keras.Sequential([keras.layers.Dense(len(dataset.class_names), activation='softmax')])\n"
                "accuracy[4] = np.mean(head.predict(features_val, verbose=0).argmax(axis=1) == y_val)",
                "",
            ),
        ],
        [
            ("choose = lambda runs: max(runs, key=lambda run: run['test'])['rate']", "which may not decide"),
            ("choose = lambda runs: max(runs, key=lambda run: run['val'])['rate']", "One lucky seed must not win"),
            ("choose = lambda runs: max(run['val'] for run in runs)", "Return a rate"),
            (
                "choose = lambda runs: max(\n"
                "    {run['rate'] for run in runs}, key=lambda rate: min(r['val'] for r in runs if r['rate'] == rate)\n"
                ")",
                "not the worst",
            ),
            (
                "choose = lambda runs: max(\n"
                "    [run['rate'] for run in runs], key=lambda rate: sum(r['val'] for r in runs if r['rate'] == rate)\n"
                ")",
                "sums are not comparable",
            ),
            (
                "choose = lambda runs: max(\n"
                "    [r['rate'] for r in runs], key=lambda t: np.median([r['val'] for r in runs if r['rate'] == t])\n"
                ")",
                "the middle seed is not the mean",
            ),
        ],
        [
            ("interval = lambda d: np.mean(d) + np.array([-1.96, 1.96]) * np.std(d, ddof=1) / len(d) ** 0.5", "1.96"),
            ("interval = lambda d: (np.mean(d) - 99, np.mean(d) + 99)", "too wide"),
            ("interval = lambda d: np.mean(d)", "two numbers"),
            ("interval = lambda d: list(stats.t.interval(0.95, len(d) - 1, loc=np.mean(d), scale=stats.sem(d)))", ""),
        ],
    ],
    "07_what_changed": [
        [
            (CKA.replace("a, b = a - a.mean(axis=0), b - b.mean(axis=0)", "pass"), "is each column centred"),
            (CKA.replace("np.corrcoef(k, m)[0, 1]", "k @ m"), "must give 1"),
            (CKA.replace("[0, 1]", "[0, 1] ** 0.5"), "linear_cka gives"),
            (CKA, ""),
        ],
        [
            ("similarity = {1e-4: 0.9}", "one entry for each rate"),
            ("similarity = dict.fromkeys(rates, 1.0)", "when you compile again"),
            ("similarity = {1e-4: 0.9, 1e-3: 0.5}", "train it"),
            (
                "tail.trainable = True\n"
                "model.compile('adam', 'sparse_categorical_crossentropy')\n"
                "model.train_on_batch(maps[:8], y_train[:8])\n"
                "similarity = {1e-4: 0.9, 1e-3: 0.5}",
                "Freeze those layers again",
            ),
            ("model.set_weights(start)\n" + FINE_TUNE.replace("    model.set_weights(start)\n", ""), "egin at start"),
            (
                FINE_TUNE.replace("    model.set_weights(start)\n", "").partition("similarity =")[0]
                + "model.set_weights(start)\nsimilarity = {1e-4: 1 - 1e-4, 1e-3: fine_tune(1e-3)}",
                "does fine_tune begin at start",
            ),
            (FINE_TUNE, ""),
        ],
        [
            (
                "calibration_gap = lambda p, labels: np.mean(abs(p.max(axis=1) - (p.argmax(axis=1) == labels)))",
                "of a bin",
            ),
            ("calibration_gap = lambda p, labels: 0.0", "the error is 0.35"),
            (GAP.replace("abs(", "("), "must not cancel"),
            (GAP.replace("np.mean(b) *", "1 / len(bins) *"), "in proportion to its answers"),
            (GAP.replace("(10 *", "(8 *").replace("0, 9", "0, 7"), "lie in the same one"),
            (GAP.replace("(10 *", "(5 *").replace("0, 9", "0, 4"), "lie in different ones"),
            (
                GAP.replace("np.clip(np.ceil(10 * sure) - 1, 0, 9)", "(10 * sure) // 1")
                .replace("unique(bin_of)", "arange(10)")
                .replace("for b in bins", "for b in bins if b.any()"),
                "belong to the last bin",
            ),
            (GAP.replace("p.max(axis=1)", "p[:, 0]"), "the largest probability"),
            (FIT.replace("[t] + [", "["), "three numbers"),
            (FIT.replace("[t]", "[1 / t]"), "must become softer"),
            (FIT.replace("t = min", "t = 1.2 or min"), "5 % higher has a lower"),
            (FIT.replace("t = min", "t = 3 or min"), "5 % lower has a lower"),
            (FIT.replace("(1, t)", "(t, 1)"), "without the temperature, then with it"),
            (FIT.replace("[half:]", "[:half]"), "those of the second half"),
            (
                FIT.replace("(labels[:half], apply_temperature(p[:half]", "(labels, apply_temperature(p"),
                "may only judge",
            ),
            (FIT.replace("0.4, 2,", "1, 2,"), "below 1: search there"),
            (FIT.replace("len(labels) // 2", "1000"), "here 400 answers"),
            (FIT, ""),
        ],
        [
            (OCCLUSION.replace("image.shape[0] // size, -1", "-1, image.shape[0] // size"), "4 rows and 3 columns"),
            (OCCLUSION.replace("image.copy()", "image"), "cover a copy"),
            (OCCLUSION.replace("before.max() - ", "-before.max() + "), "a square that matters has a positive number"),
            (
                OCCLUSION.replace(ROWS, "#").replace(COLUMNS, ROWS).replace("#", COLUMNS),
                "Are rows and columns in order",
            ),
            (OCCLUSION.replace("            picture = image.copy()\n", ""), "cover one at a time"),
            (OCCLUSION.replace("= 128", "= 0"), "Cover with 128"),
            (OCCLUSION.replace("[0, before.argmax()]", "[0].max()"), "the class of the uncovered image"),
            (OCCLUSION, ""),
        ],
    ],
    "08_your_own_images": [
        [
            ("hold_out = lambda labels, groups, share, rng: rng.random(len(labels)) < share", "on both sides"),
            (
                "def hold_out(labels, groups, share, rng):\n"
                "    held_out = np.zeros(len(labels), bool)\n"
                "    for own in (labels == label for label in np.unique(labels)):\n"
                "        drawn = rng.permutation(np.unique(groups[own]))\n"
                "        held_out[own] = np.isin(groups[own], drawn[: round(share * len(drawn))])\n"
                "    return held_out",
                "on both sides",
            ),
            ("hold_out = lambda labels, groups, share, rng: groups < 72", "Another generator"),
            (
                "hold_out = lambda labels, groups, share, rng: np.isin(groups, rng.permutation(240)[:72])",
                "draw each class on its own",
            ),
            (
                "def hold_out(labels, groups, share, rng):\n"
                "    draws = [rng.permutation(np.unique(groups[labels == label]))[:24] for label in range(3)]\n"
                "    return np.isin(groups, draws)",
                "The argument share",
            ),
            (
                "def hold_out(labels, groups, share, rng):\n"
                "    draws = [rng.permutation(sorted(set(groups[labels == label]))) for label in set(labels)]\n"
                "    held_out = {int(g) for draw in draws for g in draw[: int(share * len(draw))]}\n"
                "    return [g in held_out for g in groups.tolist()]",
                "",
            ),
        ],
        [
            ("choose_threshold = lambda confidence, correct, target: target", "A lower threshold"),
            ("choose_threshold = lambda confidence, correct, target: 0.0", "Fewer than 90 %"),
            (
                "choose_threshold = lambda confidence, correct, target: min(\n"
                "    t for t in confidence if correct[confidence >= t].mean() >= target\n"
                ")",
                "nothing may be answered",
            ),
            (
                "choose_threshold = lambda confidence, correct, target: min(\n"
                "    (t for t in confidence if correct[confidence >= t].mean() >= target), default=1.0\n"
                ")",
                "nothing may be answered",
            ),
            (
                "choose_threshold = lambda confidence, correct, target: min(\n"
                "    (t for t in confidence if correct[confidence >= t].mean() >= 0.9), default=np.inf\n"
                ")",
                "the argument target decides",
            ),
            (
                "choose_threshold = lambda confidence, correct, target: next(\n"
                "    (confidence[n] for n in range(len(confidence)) if correct[n:].mean() >= target), 2\n"
                ")",
                "Nothing is answered",
            ),
            (
                "def choose_threshold(confidence, correct, target):\n"
                "    order = np.argsort(-confidence)\n"
                "    reached = np.cumsum(correct[order]) / np.arange(1, len(order) + 1) >= target\n"
                "    return confidence[order][np.flatnonzero(reached)[-1]] if reached.any() else 2",
                "",
            ),
        ],
        [
            (SCORES.replace(LIMIT, "np.quantile(known, rate)"), "3 are more than 5 %"),
            (SCORES.replace(LIMIT, "np.min(known)"), "the threshold can be higher"),
            (SCORES.replace(LIMIT, "np.quantile(known, rate, method='lower')"), "5 of 17"),
            (SCORES.replace("<= rate", "<= 0.05"), "5 of 17"),
            (SCORES.replace(LIMIT, "np.sort(known)[int(rate * len(known)) - 1] + 1e-9"), "share the lowest score"),
            (SCORES.replace(RANKS, "np.mean(known > foreign[: len(known)])"), "of these six pairs"),
            (SCORES.replace(RANKS, "np.mean(known[:, None] < foreign)"), "of these six pairs"),
            (SCORES.replace(RANKS, "np.mean(known[:, None] > foreign)"), "count ties"),
            (SCORES + "areas = dict.fromkeys('ab', 0.9)", "areas must hold"),
            (SCORES + "stopped = {name: 1 - stopped[name] for name in 'ab'}", "stopped must hold"),
            (SCORES + "choice = 'a'", "the other score"),
            (SCORES, ""),
        ],
        [
            (
                "def prepare(folder, rng):\n"
                "    files = rng.permutation([p for p in sorted(folder.glob('*/*')) if thumbnail(p) is not None])\n"
                "    return files[:156], files[156:208], files[208:]",
                "split whole groups",
            )
        ],
        [
            (LEARN + "    return model", "on validation"),
            (
                LEARN + "    network.trainable = False\n"
                "    model.compile('adam', 'sparse_categorical_crossentropy')\n"
                "    model.fit(*arrays(train_files), epochs=10, verbose=0)\n"
                "    network.trainable = True\n"
                "    model.fit(*arrays(train_files), epochs=1, verbose=0)\n"
                "    return model",
                "compiled again after unfreezing",
            ),
        ],
    ],
}
