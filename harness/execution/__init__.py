"""Running cells: scheduler, executors, conductor, workers, bundles and attempts."""
