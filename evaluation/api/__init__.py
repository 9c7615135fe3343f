"""The functions of `import satbench`; the folder `satbench` here is installed by that name."""
