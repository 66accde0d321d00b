"""The same four durable steps in programs made for that, each a process in an environment of its own, from requirements.txt."""
