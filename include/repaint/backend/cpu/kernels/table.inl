/// The functions above, for kernels_for(), which chooses the instruction set at run time.
inline constexpr kernel_table kernels{
    widest_group,
    multiply,
    winograd_input<2>,
    winograd_input<4>,
    winograd_weights<2>,
    winograd_weights<4>,
    winograd_output<2>,
    winograd_output<4>,
    finish,
    moments,
    normalise,
    softmax,
    scale,
    double_row,
    halve_rows,
    transpose,
};
inline constexpr gradient_table gradient_kernels{
    activation_vjp, normalise_sums, normalise_vjp, softmax_vjp, softmax_vjp_of_key,
};
