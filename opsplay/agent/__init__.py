"""What runs on every host: the standard library and itself only, Python 3.6 or newer once stripped."""
