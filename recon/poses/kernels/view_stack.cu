// The signed distance to what views allow: the CUDA twin of allowed_distances in view_stack.py, where it is explained.
// Grids are (view, z, y, x). One thread per cell.

// Writes the share of each cell that lies between substrate and surface; there are margin empty cells around the image,
// and below the substrate. The last row and the last column of cells may reach beyond the image.
extern "C" __global__ void fill_cells(const float *heights, int num_views, int image_size, int pixels_per_cell,
                                      int num_cells, int margin, int num_levels, float *share) {
    long long cell = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    int size = num_cells + 2 * margin;
    if (cell >= (long long)num_views * num_levels * size * size) return;
    int x = (int)(cell % size) - margin, y = (int)(cell / size % size) - margin;
    int z = (int)(cell / size / size % num_levels) - margin;
    const float *image = heights + cell / size / size / num_levels * image_size * image_size;
    float total = 0.0f;
    if (x >= 0 && x < num_cells && y >= 0 && y < num_cells && z >= 0)
        for (int part = 0; part < pixels_per_cell * pixels_per_cell; ++part) {
            int row = (num_cells - y) * pixels_per_cell - 1 - part / pixels_per_cell;
            int col = x * pixels_per_cell + part % pixels_per_cell;
            double height = row < image_size && col < image_size ? image[row * image_size + col] : 0.0;
            total = (float)(total + fmin(fmax(height - z, 0.0), 1.0));
        }
    share[cell] = total / (float)(pixels_per_cell * pixels_per_cell);
}

// Writes the weighted mean along one axis, whose neighbours are stride cells apart; weights (2 * radius + 1) are
// symmetric, and there is nothing beyond the ends of the axis.
extern "C" __global__ void blur_axis(const float *values, int num_values, int stride, int length,
                                     const double *weights, int radius, float *blurred) {
    int cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= num_values) return;
    int place = cell / stride % length;
    double total = values[cell] * weights[radius];
    for (int reach = radius; reach > 0; --reach) {
        double before = place >= reach ? values[cell - reach * stride] : 0.0;
        double behind = place + reach < length ? values[cell + reach * stride] : 0.0;
        total += (before + behind) * weights[radius - reach];
    }
    blurred[cell] = (float)total;
}

// Replaces shares by the distances at which a plane has them.
extern "C" __global__ void invert_shares(float *values, int num_values, float least_share, double width) {
    int cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= num_values) return;
    float share = fminf(fmaxf(values[cell], least_share), 1.0f - least_share);
    values[cell] = (float)(-width * normcdfinv((double)share));
}
