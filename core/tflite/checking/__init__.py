"""Whether a .tflite file of an unknown sender can be given to an interpreter, which crashes on many that contradict
themselves."""
