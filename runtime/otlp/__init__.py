"""Figures told to an OpenTelemetry collector, from the process that speaks HTTP."""
