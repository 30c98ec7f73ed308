"""What lies on the disk after a training: the run's folder, and a run opened again."""
