def plan_run(*a): return "x"
