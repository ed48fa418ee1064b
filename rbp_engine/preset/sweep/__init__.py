"""What a sweep varies, as `[sweep]` of a preset or the command line says it. Nothing of it reaches a run's preset."""
