"""From a float graph to an int8 one: ranges, layers kept float, error per layer."""
