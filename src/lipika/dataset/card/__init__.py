"""The card of an export: Markdown for the hub, charts, Croissant metadata, and samples to listen to."""
