"""Pure metrics of anomaly maps: arrays in, numbers out; one module a metric, named after its function.

A voxel is predicted when `score >= threshold`, everywhere. The modules are not re-exported here, because a function of
its module's name would hide the module from the `_target_` lookup of bundle configs.
"""
