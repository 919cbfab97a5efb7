"""People's words on clips: what they correct, approve or condemn, and how their corrections go out and come in."""
