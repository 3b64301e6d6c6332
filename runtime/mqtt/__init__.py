"""Answers, figures and what changed, told to an MQTT broker in the form that Home Assistant finds by itself."""
