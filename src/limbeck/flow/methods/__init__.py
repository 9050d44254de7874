"""Ways of learning a few-step sampler from the same teacher and the same pairs; one file each."""
