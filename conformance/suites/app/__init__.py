"""What an app must keep: its signed proxy, judged from the backend's side."""
