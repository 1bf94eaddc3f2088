"""SOPS: opening sealed documents in process, and the real binary for everything else."""
