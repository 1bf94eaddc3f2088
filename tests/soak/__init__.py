"""Long proofs against hostile input: a fuzzer, and two owners of which one attacks."""
