"""The versions in memory, ranking and scoring by them, and ``/recommend``: no Kafka."""
