// The same tests in a program that links the NCCL side.
#include "parallel/device_test.cpp"
