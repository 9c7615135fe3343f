"""Prediction of a whole volume in bounded memory, and its way to the native grid."""
