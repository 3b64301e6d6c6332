"""Ten thousand sites in a bucket that runs here, added up by every engine, with and without faults."""
