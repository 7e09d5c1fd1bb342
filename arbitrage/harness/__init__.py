"""The harness: data sets, grading, running, storing, statistics, reports. Knows strategies by their interface only."""
