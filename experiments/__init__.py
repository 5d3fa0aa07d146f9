"""Questions, one runnable page each: `python -m experiments.<name>`. They use only what any user of labray can."""
