"""One stage a module: settings in, StageResult out; wiring, no decisions."""
