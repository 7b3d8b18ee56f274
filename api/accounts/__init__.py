"""The account side of the API: who logs in, what they own, and whom they let in."""
