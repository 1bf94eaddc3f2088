"""Notifications of failures and recoveries, sent to webhooks."""
