"""Sources of sound: the port to microphones, adapters, a fake, WAV files, and the windows that networks take."""
