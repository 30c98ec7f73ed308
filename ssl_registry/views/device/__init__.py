"""The engine that draws views a batch at a time, on the batch's device."""
