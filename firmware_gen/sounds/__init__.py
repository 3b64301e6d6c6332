"""The front end of models that listen: its tables and its state as C."""
