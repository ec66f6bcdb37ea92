"""Clicks in: from the user's record to a click, or a reason why not."""
