// Reduces a cubic grid (z, y, x): a coarse voxel is 1 where at least half of its fine voxels are 1. One thread per
// coarse voxel.
extern "C" __global__ void downsample_majority(const unsigned char *occupancy, int grid_size, int target_size,
                                               unsigned char *coarse) {
    int voxel = blockIdx.x * blockDim.x + threadIdx.x;
    if (voxel >= target_size * target_size * target_size) return;
    int factor = grid_size / target_size;
    int first_x = voxel % target_size * factor;
    int first_y = voxel / target_size % target_size * factor;
    int first_z = voxel / target_size / target_size * factor;
    int num_inside = 0;
    for (int z = first_z; z < first_z + factor; ++z)
        for (int y = first_y; y < first_y + factor; ++y)
            for (int x = first_x; x < first_x + factor; ++x)
                num_inside += occupancy[((long long)z * grid_size + y) * grid_size + x];
    coarse[voxel] = 2 * num_inside >= factor * factor * factor;
}
