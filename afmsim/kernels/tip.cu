// Grey dilation by a tip: the CUDA twin of tip_cpu.py, equal to the bit, since a maximum knows no order.

// Writes the largest height minus tip over all offsets (offset, row and col), at least 0. The offsets come with the tip's
// height rising, so that a pixel is done as soon as the highest point of its view could not lift it any more. One thread
// per pixel.
extern "C" __global__ void dilate(const float *height_nm, const float *highest_nm, int num_views, int num_rows,
                                  int num_cols, const int *offsets, const float *tip_height_nm, int num_offsets,
                                  float *image_nm) {
    long long pixel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= (long long)num_views * num_rows * num_cols) return;
    int col = (int)(pixel % num_cols), row = (int)(pixel / num_cols % num_rows);
    long long view = pixel / num_cols / num_rows;
    const float *view_nm = height_nm + view * num_rows * num_cols;
    float largest = 0.0f;
    for (int offset = 0; offset < num_offsets; ++offset) {
        if (highest_nm[view] - tip_height_nm[offset] <= largest) break;
        int at_row = row + offsets[2 * offset], at_col = col + offsets[2 * offset + 1];
        if (at_row < 0 || at_row >= num_rows || at_col < 0 || at_col >= num_cols) continue;
        largest = fmaxf(largest, view_nm[(long long)at_row * num_cols + at_col] - tip_height_nm[offset]);
    }
    image_nm[pixel] = largest;
}
