"""Between pyinfra and the pure modules: the inventory becomes settings, and the answers of hosts become one view."""
