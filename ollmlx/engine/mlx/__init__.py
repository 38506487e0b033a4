"""MLX models, on mlx-lm."""
