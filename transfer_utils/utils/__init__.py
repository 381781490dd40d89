"""What is no transfer learning: files that survive, progress, this machine, colours, text."""
