"""Converts a GGUF model file to the Hugging Face layout that Headgate's workers load."""
