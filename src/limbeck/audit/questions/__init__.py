"""What an audit asks, one question a file: functions from an examination to an answer."""
