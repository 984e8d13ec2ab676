"""Policy files: reading, validation, error messages, and conversion of other autoscalers' files."""
