// The same tests in a program that links the NCCL side: CFM_TEST_DEVICE=cuda runs them over NCCL.
#include "parallel/gradient_reducer_test.cpp"
