"""Consent withdrawn: what it is about is found wherever it lies, removed, and kept from coming back."""
