"""Operations dashboard: Streamlit pages over `core`."""
