// Every kernel, in an order in which each finds what it needs. Included by kernels.ipp alone, inside the namespace and
// the target pragma of an instruction set, with REPAINT_CPU_ISA and REPAINT_CPU_REGISTERS telling which.
#include <repaint/backend/cpu/kernels/simd.inl>
//
#include <repaint/backend/cpu/kernels/multiply.inl>
//
#include <repaint/backend/cpu/kernels/elementwise.inl>
#include <repaint/backend/cpu/kernels/gradients.inl>
#include <repaint/backend/cpu/kernels/transpose.inl>
#include <repaint/backend/cpu/kernels/winograd.inl>
//
#include <repaint/backend/cpu/kernels/table.inl>
