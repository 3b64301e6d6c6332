"""The last layer of a task, solved anew on the board from frames whose class somebody says."""
