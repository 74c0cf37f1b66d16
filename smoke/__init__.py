"""Does the live system keep its promises? The rollout checks, and the environments that they know."""
