"""What an engine prepares once: segments as subgraphs, and all that frames of a choice of tasks need."""
