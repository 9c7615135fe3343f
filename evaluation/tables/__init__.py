"""From score rows to tables: policies, means, intervals, comparisons, ranks."""
