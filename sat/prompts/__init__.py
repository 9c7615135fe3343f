"""Class names as prompts: texts, their embeddings, and which encoder makes them."""
