"""Which networks share with which: trunks, branches on them, and the plan that the budget picks."""
