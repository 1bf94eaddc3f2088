"""What agents did, what it cost, and whether they answer: values and arithmetic. Pure."""
